"""What people are asked next: an order of all that waits for a label, with a reason for each image."""
