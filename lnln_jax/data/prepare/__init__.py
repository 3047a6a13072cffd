"""Building the data sets that training reads as records."""
