"""Studies carried out on this host: units in a child process, timings by the agent, reports and lock files."""
