-- own: this customer's entries alone
SELECT unit, count(*) FILTER (night) / count(*) AS R02
FROM entry
WHERE p2p_in AND age < 90
GROUP BY unit
HAVING count(*) >= $least
