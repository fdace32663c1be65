"""`curate export`: the present split in a form that other tools read. One file a format, behind `interface`."""
