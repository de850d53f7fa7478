"""`make bench`: comparisons with named peers on the machine at hand, as ratios of interleaved rounds."""
