"""Searches for picks on one kernel block or one sparse graph, in integers. No cells, shards or tables here."""
