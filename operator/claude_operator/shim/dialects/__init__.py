"""One module or folder per API: parse, call the core, render."""
