"""`curate classes`: the list of classes changes, though labels, splits and runs exist that say the old one."""
