-- When Entra is asked again about a sign-in that it does not take; NULL: not before somebody has signed in.
ALTER TABLE grants ADD COLUMN ask_again_at INTEGER;
