"""The agent's daily round: enrol, claim, fetch, wait for the host, measure, spool, report."""
