"""Pictures of guitars that the tool draws itself: a demonstration without network and without foreign images."""
