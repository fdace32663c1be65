"""What lasts: the models, the engine and its transactions, migrations, and the store of image files."""
