"""Out of one machine: the same training on hired computers."""
