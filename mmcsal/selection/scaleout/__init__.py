"""One selection out of many shards: plan, cells, shuffle, merge, as pure steps. Who runs them is not known here."""
