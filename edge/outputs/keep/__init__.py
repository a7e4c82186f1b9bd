"""What of a run is worth a person's look, kept in a folder of a bounded size: what tells (`telling`), where it lies (`store`), and who writes it (`sink`)."""
