-- own: this customer's entries alone
SELECT unit, max(branch_items) AS R32
FROM entry
WHERE branch_items IS NOT NULL AND age < 90
GROUP BY unit
