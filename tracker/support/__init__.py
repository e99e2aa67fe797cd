"""What people ask of orders and parcels, and what they say of them: lists, explanations, evidence, what-ifs, statements."""
