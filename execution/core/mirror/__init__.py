"""What the mirror in Firestore holds, what of it is written when, and at what pace."""
