"""What can be measured of written text: likelihood, translation, variety, copies, form."""
