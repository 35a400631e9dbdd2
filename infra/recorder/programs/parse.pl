# Counts the slow requests per path of an access log and prints them as JSON lines, busiest first.
use strict; use warnings;
my %slow;
while (my $line = <>) {
    if ($line =~ m{"(GET|POST|PUT) (/[a-z]+)/(\d+)" (\d{3}) (\d+\.\d+)}) { $slow{"$1 $2"} += $5 if $5 > 0.2; }
}
print qq({"path":"$_","slow_s":$slow{$_}}\n) for sort { $slow{$b} <=> $slow{$a} } keys %slow;
