"""Records and reports on paper: PDF and HTML, Korean and English."""
