"""Building the datasets that training reads as records."""
