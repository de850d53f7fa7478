"""Charts as characters: plain values in, a grid of characters and inks out. Pure: no clock, no files, no terminal library."""
