"""A run as a report for people and for other programs: one page, and further formats. Reads what was judged, judges nothing."""
