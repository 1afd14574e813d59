-- own: this customer's entries alone
SELECT
    unit,
    1 - coalesce(sum(amount) FILTER (spend IN (
        'grocery', 'rent', 'utilities', 'health', 'phone', 'tuition', 'tax', 'insurance',
        'subscription'
    )), 0) / sum(amount) AS R17,
    count(DISTINCT spend) FILTER (spend IN (
        'grocery', 'rent', 'utilities', 'health', 'phone', 'tuition', 'tax', 'insurance',
        'subscription'
    )) AS R17_kinds
FROM entry
WHERE direction = 'out' AND age < 90
GROUP BY unit
HAVING sum(amount) >= $least
