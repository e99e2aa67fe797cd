"""Files: read into the inbox, from where a person, a folder or a carrier's server has them."""
