"""SQL over a catalogue, in a process that can neither write, nor read anything else, nor outlast its limits."""
