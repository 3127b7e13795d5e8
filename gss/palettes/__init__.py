"""Where the colours of a palette come from, how they are assigned, drawn and converted."""
