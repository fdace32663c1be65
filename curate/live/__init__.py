"""`curate label watch`: labels come in as they are made, the queue stays filled, and the model learns beside it."""
