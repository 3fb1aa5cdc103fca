"""Generated days, and pinflow's pipeline measured beside other engines on them."""
