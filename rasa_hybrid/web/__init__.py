"""What the web pages have in common: look, script and headers, and the tokens that requests bring. Imports no other room."""
