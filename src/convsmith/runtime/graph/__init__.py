"""From a model to the graph that runs: captured, cleaned and split into regions."""
