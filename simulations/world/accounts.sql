-- One row per unit, from that unit's own entries and constants only (every
-- column is `own`: design section 2). Amounts are integers in minor units, so
-- sums are exact in any order and threads cannot change a bit. A share of
-- nothing is NULL, which is not 0: a study's missing slot takes it.
-- $days: length of the window; counts and amounts are per 30 days.
WITH lines AS (
    SELECT *, minute >= 1320 OR minute < 360 AS night  -- 22:00 to 06:00
    FROM entries
),
totals AS (
    SELECT
        unit,
        sum(amount) FILTER (direction = 'in') AS came_in,
        sum(amount) FILTER (direction = 'out') AS went_out,
        count(*) FILTER (direction = 'in' AND channel = 'p2p') AS p2p_in,
        sum(amount) FILTER (direction = 'in' AND channel = 'p2p') AS p2p_in_amount,
        count(*) FILTER (direction = 'in' AND channel = 'p2p' AND night) AS p2p_in_night,
        count(*) FILTER (direction = 'in' AND channel = 'p2p' AND amount % 2000 = 0) AS p2p_in_even,
        count(*) FILTER (channel IN ('cash', 'transport', 'groceries')) AS placed,
        count(*) FILTER (channel IN ('cash', 'transport', 'groceries') AND night) AS placed_night,
        sum(amount) FILTER (direction = 'in' AND channel = 'cash') AS cash_in,
        sum(amount) FILTER (direction = 'out' AND channel = 'cash') AS cash_out,
        sum(amount) FILTER (channel = 'platform') AS platform,
        sum(amount) FILTER (channel = 'prepaid') AS prepaid,
        sum(amount) FILTER (channel = 'remittance') AS remittance,
        sum(amount) FILTER (channel IN ('groceries', 'bills')) AS living,
        count(*) FILTER (channel IN ('payroll', 'benefit')) AS regular,
        count(*) FILTER (channel = 'lodging') AS lodging,
        count(*) FILTER (channel = 'transport') AS transport,
        count(*) FILTER (channel = 'ads' AND amount <= 3000) AS ads_small,
        count(*) FILTER (channel = 'care') AS care
    FROM lines
    GROUP BY unit
),
parties AS (
    SELECT
        unit,
        counterparty,
        count(*) FILTER (direction = 'in' AND channel = 'p2p') AS p2p_in,
        max(day) FILTER (direction = 'in' AND channel = 'p2p') AS last_in,
        sum(amount) FILTER (direction = 'in' AND channel = 'p2p') AS got,
        sum(amount) FILTER (direction = 'out' AND channel = 'p2p') AS paid,
        sum(amount) FILTER (channel = 'wages') AS wages
    FROM lines
    WHERE channel IN ('p2p', 'wages')
    GROUP BY unit, counterparty
),
people AS (
    SELECT
        unit,
        count(*) FILTER (p2p_in > 0) AS senders,
        count(*) FILTER (p2p_in = 1) AS senders_once,
        count(*) FILTER (last_in >= $days - 30) AS senders_30d,
        max(paid) AS paid_top,
        sum(wages) AS wages,
        sum(least(coalesce(got, 0), coalesce(wages, 0))) AS wages_back
    FROM parties
    GROUP BY unit
),
daily AS (
    SELECT
        unit,
        day,
        coalesce(sum(amount) FILTER (
            direction = 'in' AND channel IN ('p2p', 'cash')
        ), 0) AS came_in,
        coalesce(sum(amount) FILTER (
            direction = 'out' AND channel IN ('p2p', 'cash', 'wages', 'remittance', 'prepaid')
        ), 0) AS left_fast
    FROM lines
    GROUP BY unit, day
),
flow AS (
    SELECT
        unit,
        came_in,
        least(came_in, sum(left_fast) OVER (
            PARTITION BY unit ORDER BY day RANGE BETWEEN CURRENT ROW AND 1 FOLLOWING
        )) AS moved_on
    FROM daily
),
depletion AS (
    SELECT unit, sum(moved_on) / nullif(sum(came_in), 0) AS moved_on_share
    FROM flow
    GROUP BY unit
),
cities AS (
    SELECT
        unit,
        city,
        coalesce(sum(amount) FILTER (channel = 'cash' AND direction = 'in'), 0) AS cash_in,
        coalesce(sum(amount) FILTER (channel = 'cash' AND direction = 'out'), 0) AS cash_out
    FROM lines
    WHERE city IS NOT NULL
    GROUP BY unit, city
),
places AS (
    SELECT
        unit,
        count(*) AS cities,
        -- cash that goes in at cities where none comes out
        sum(cash_in) FILTER (cash_out = 0) AS cash_in_apart
    FROM cities
    GROUP BY unit
),
phones AS (
    SELECT unit, count(DISTINCT counterparty) AS lines
    FROM lines
    WHERE channel = 'phone'
    GROUP BY unit
)
SELECT
    c.unit,
    c.institution,
    c.label,
    c.persona,
    coalesce(t.p2p_in, 0) * 30.0 / $days AS p2p_in_count,
    coalesce(p.senders_30d, 0)::DOUBLE AS senders_30d,
    p.senders_once / nullif(p.senders, 0) AS senders_once_share,
    t.p2p_in_night / nullif(t.p2p_in, 0) AS p2p_night_share,
    t.p2p_in_even / nullif(t.p2p_in, 0) AS p2p_even_share,
    t.p2p_in_amount / nullif(t.p2p_in, 0) / 100 AS p2p_in_mean,
    t.placed_night / nullif(t.placed, 0) AS night_share,
    -- greatest() alone would turn a missing value into -1
    CASE WHEN t.came_in > 0 THEN greatest(-1, 1 - coalesce(t.went_out, 0) / t.came_in) END
        AS retention,
    d.moved_on_share,
    coalesce(p.senders_once * d.moved_on_share, 0) * 30.0 / $days AS senders_moved_on_count,
    coalesce(p.paid_top / t.went_out, 0) AS top_payee_share,
    coalesce(p.wages_back, 0) * 0.3 / $days AS wages_back_amount,
    coalesce(t.cash_in, 0) * 0.3 / $days AS cash_in_amount,
    coalesce(t.cash_out, 0) * 0.3 / $days AS cash_out_amount,
    coalesce(l.cash_in_apart, 0) * 0.3 / $days AS cash_in_apart_amount,
    coalesce(l.cities, 0)::DOUBLE AS cities,
    coalesce(t.lodging, 0) * 30.0 / $days AS lodging_count,
    coalesce(t.transport, 0) * 30.0 / $days AS transport_count,
    coalesce(t.ads_small, 0) * 30.0 / $days AS ads_small_count,
    least(coalesce(t.lodging, 0), coalesce(t.ads_small, 0)) * 30.0 / $days AS lodging_with_ads_count,
    coalesce(t.prepaid, 0) * 0.3 / $days AS prepaid_amount,
    coalesce(ph.lines, 0)::DOUBLE AS phone_lines,
    coalesce(t.care, 0) * 30.0 / $days AS care_count,
    coalesce(t.regular, 0) * 30.0 / $days AS regular_income_count,
    coalesce(t.platform, 0) / nullif(t.came_in, 0) AS platform_share,
    coalesce(t.living, 0) / nullif(t.went_out, 0) AS living_share,
    coalesce(p.wages, 0) * 0.3 / $days AS wages_amount,
    coalesce(t.remittance, 0) * 0.3 / $days AS remittance_amount
FROM customers AS c
LEFT JOIN totals AS t USING (unit)
LEFT JOIN people AS p USING (unit)
LEFT JOIN depletion AS d USING (unit)
LEFT JOIN places AS l USING (unit)
LEFT JOIN phones AS ph USING (unit)
ORDER BY c.unit
