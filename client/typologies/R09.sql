-- own: this customer's entries alone
WITH monthly AS (
    SELECT
        unit,
        month,
        count(DISTINCT age) FILTER (tickets >= 2) AS days,
        coalesce(sum(tickets), 0) AS travellers
    FROM entry
    WHERE spend = 'distance' AND age < 90
    GROUP BY ALL
)
SELECT unit, max(days) AS R09, max(travellers) AS R09_tickets
FROM monthly
GROUP BY unit
