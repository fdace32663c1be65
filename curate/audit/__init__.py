"""Labels that are probably wrong, images that no class fits, and people who err; lists of others' images, too."""
