echo "system:  $(uname -srm)"
echo "uptime:  $(uptime -p 2>/dev/null || cat /proc/uptime)"
echo "disk:"
df -h / | sed 's/^/  /'
