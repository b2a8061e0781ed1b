"""Output for people at a terminal and for programs: tables, colours, JSON, findings."""
