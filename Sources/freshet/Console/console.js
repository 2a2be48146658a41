// The page comes later.
