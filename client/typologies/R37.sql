-- own: senders and the payee are keys on this customer's statement; their accounts are not looked at
WITH payee AS (
    SELECT unit, party, sum(amount) AS paid
    FROM entry
    WHERE direction = 'out' AND channel IN ('P2P', 'WIRE') AND party IS NOT NULL AND age < 90
    GROUP BY ALL
    HAVING count(*) >= 3
),
most AS (
    SELECT unit, party
    FROM (
        SELECT unit, party, row_number() OVER (PARTITION BY unit ORDER BY paid DESC, party) AS place
        FROM payee
    )
    WHERE place = 1
),
daily AS (
    SELECT
        e.unit,
        e.age,
        coalesce(sum(e.amount) FILTER (
            (e.p2p_in OR e.cash_in) AND e.party IS DISTINCT FROM m.party
        ), 0) AS came,
        coalesce(sum(e.amount) FILTER (
            e.direction = 'out' AND e.channel IN ('P2P', 'WIRE') AND e.party = m.party
        ), 0) AS went
    FROM entry AS e
    LEFT JOIN most AS m ON m.unit = e.unit
    WHERE e.age < 90
    GROUP BY ALL
),
followed AS (
    SELECT
        unit,
        came,
        least(came, sum(went) OVER (
            PARTITION BY unit ORDER BY -age RANGE BETWEEN CURRENT ROW AND 1 FOLLOWING
        )) AS moved
    FROM daily
    WHERE came > 0 OR went > 0
)
SELECT
    unit,
    count(*) FILTER (came > 0 AND 2 * moved >= came) AS R37,
    CASE WHEN sum(came) >= $least THEN sum(moved) / sum(came) END AS R37_share
FROM followed
GROUP BY unit
