"""pinflow's stages extract, aggregate and top_items of one day beside the same tables made with other engines."""
