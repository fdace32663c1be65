"""Pages that people look at: each is one HTML file that holds everything it shows and asks nobody for anything."""
