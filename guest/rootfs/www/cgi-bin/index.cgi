#!/bin/sh
# The page at /: the guest's network identity.
. /lib/guest.sh

escape() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }

# Print a table row with heading $1 and the lines of stdin, if there are any.
row() {
    lines=$(escape | sed 's/$/<br>/')
    [ -z "$lines" ] || printf '<tr><th>%s</th><td>%s</td></tr>\n' "$1" "$lines"
}

gateways() { ip -4 route; ip -6 route; }

host=$(hostname | escape)

cat <<EOF
Content-Type: text/html; charset=utf-8

<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$host: a virtual machine</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --accent: light-dark(#0a6cff, #6cb2ff); }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 12vh auto; padding: 0 1.5rem; }
  h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; }
  h1 b { color: var(--accent); }
  p { opacity: .75; margin: 0 0 2rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .6rem 0; border-top: 1px solid var(--line); }
  th { font-weight: 500; opacity: .75; width: 9rem; }
  td { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
  a { color: var(--accent); }
</style>
<h1>A virtual machine answers here: <b>$host</b></h1>
<p>This address belonged to a container. vmnet handed it to this small Linux, with its MAC, routes and names.</p>
<table>
$(
    for nic in $(nics); do
        {
            addresses4 "$nic"
            addresses6 "$nic"
            echo "MAC $(cat "/sys/class/net/$nic/address")"
            echo "MTU $(cat "/sys/class/net/$nic/mtu")"
        } | row "$nic"
    done
    gateways | awk '$1 == "default" && $2 == "via" { print $3, "on", $5 }' | row Gateway
    nameservers | row DNS
    search_domains | row "Search domains"
    cut -d. -f1 /proc/uptime | awk '{ printf "%d min %d s\n", $1 / 60, $1 % 60 }' | row Uptime
    uname -rm | row Kernel
)
</table>
<p><br>The same <a href="/cgi-bin/identity">as JSON</a>.</p>
</html>
EOF
