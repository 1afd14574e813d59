-- own: this customer's entries alone
WITH monthly AS (
    SELECT unit, month, count(DISTINCT merchant) AS places
    FROM entry
    WHERE spend = 'lodging' AND at_home AND age < 90
    GROUP BY ALL
)
SELECT unit, max(places) AS R08
FROM monthly
GROUP BY unit
