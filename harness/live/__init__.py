"""A run while it runs, or as it was at any instant: followed from its directory, with the statistics that judge it afterwards."""
