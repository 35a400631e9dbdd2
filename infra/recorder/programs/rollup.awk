# Requests, errors and total seconds per path and status of an access log.
{ count[$6 " " $8]++; seconds[$6 " " $8] += $9; if ($8 >= 500) errors[$6]++ }
END { for (key in count) printf "%s %d %.3f\n", key, count[key], seconds[key] }
