"""`curate simulate`: the labelling loop replayed on labels that exist, strategy by strategy and seed by seed."""
