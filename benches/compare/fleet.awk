# The model of benches/fleet.sh: what the runs cost, what they foretell, where larger fleets end.
#
# A run is a line: its name, then all a second: changes, those told, CPU-us of the nodes and of the store,
# messages and octets that an ear heard.

{
  runs[$1]++
  changes[$1] += $2; told[$1] += $3; hearing[$1] += $4; serving[$1] += $5; messages[$1] += $6; octets[$1] += $7
}

# What the store pays to hand messages and octets on to so many.
function fan_out(listeners, messages, octets) {
  return listeners * (messages * a_message + octets * an_octet)
}

function foretold(name, what, guess, seen) {
  printf "    %-24s %-6s foretold %9.0f, measured %9.0f CPU-us/s, error %+.0f %%\n",
    name, what, guess, seen, (guess / seen - 1) * 100
}

# So many events come in so many messages: where they wait for each other, in no more than `most`.
function in_messages(events) {
  return most > 0 && m_event * events > most ? most : m_event * events
}

# What the store carries beside so many nodes, at a price. Where what is told waits for more, messages do not
# grow with it, nor with the nodes.
function carried(n, price,   beside, each) {
  beside = n * a_node * price
  each = a_change * price + fan_out(n, 0, share * o_event)
  if (most > 0) beside += fan_out(n, most, n * o_node)
  else { beside += fan_out(n, n * m_node, n * o_node); each += fan_out(n, share * m_event, 0) }
  beside = servers * cores * 1e6 - beside
  return beside > 0 ? beside / each : 0
}

END {
  for (run in runs) {
    changes[run] /= runs[run]; told[run] /= runs[run]; hearing[run] /= runs[run]
    serving[run] /= runs[run]; messages[run] /= runs[run]; octets[run] /= runs[run]
  }
  # Of what handing on costs more to many ears than to one, a part goes by message and a part by octet.
  small = (serving["small"] / changes["small"] - serving["one"] / changes["one"]) / (ears - 1)
  large = serving["large"] / changes["large"] / ears
  per_small = octets["small"] / changes["small"]; per_large = octets["large"] / changes["large"]
  an_octet = (large - small) / (per_large - per_small)
  if (an_octet < 0) an_octet = 0
  a_message = (small - an_octet * per_small) / (messages["small"] / changes["small"])

  # An event, by what the only ear heard while there was no node.
  m_event = messages["steps"] / told["steps"]; o_event = octets["steps"] / told["steps"]
  a_change = (serving["steps"] - fan_out(1, messages["steps"], octets["steps"])) / changes["steps"]
  # A node that does nothing but prove that it hears.
  m_node = messages["idle"] / 2; o_node = octets["idle"] / 2
  a_node = (serving["idle"] - fan_out(3, messages["idle"], octets["idle"])) / 2
  idle = hearing["idle"] / 2
  an_event = (hearing["two"] / 2 - idle) / told["two"]

  # What waits for more comes in so many messages and no more, however much is told.
  most = messages["flat"] < 0.5 * told["flat"] ? messages["flat"] : 0
  printf "  an event: %.2f messages and %.0f octets to each who hears; %.1f CPU-us to each node that hears it\n",
    m_event, o_event, an_event
  printf "  the store: %.1f CPU-us a change, and for each who hears %.2f a message and %.2f a KiB\n",
    a_change, a_message, an_octet * 1024
  printf "  a node that is idle: %.0f CPU-us/s, %.0f of the store, %.1f messages and %.0f octets a second to each who hears\n",
    idle, a_node, m_node, o_node
  printf "  as fast as one node writes: %.0f changes a second, %.1f CPU-us of the store each\n",
    changes["flat"], (serving["flat"] - fan_out(1, messages["flat"], octets["flat"])) / changes["flat"]
  foretold(nodes " nodes", "store", changes["nodes"] * a_change + nodes * a_node +        \
    fan_out(nodes + 1, in_messages(told["nodes"]) + nodes * m_node, o_event * told["nodes"] + nodes * o_node), serving["nodes"])
  foretold(nodes " nodes", "nodes", nodes * (idle + an_event * told["nodes"]), hearing["nodes"])
  foretold(ears " ears", "store", changes["ears"] * a_change +                         \
    fan_out(ears, in_messages(told["ears"]), o_event * told["ears"]), serving["ears"])

  # A server that is busy does more at each turn, and each thing for less: between the two prices lies what
  # a fleet pays.
  busy = (serving["flat"] - fan_out(1, messages["flat"], octets["flat"])) / changes["flat"] / a_change
  if (busy > 1) busy = 1
  servers = store == "cluster" ? 3 : 1
  cores = store == "postgres" ? 8 : 1
  share = told["steps"] / changes["steps"]
  printf "  changes a second that a fleet carries (a core of each Redis, eight of PostgreSQL; 10 Gbit/s of each server; a core of a node)\n"
  printf "    %5s %12s %12s %10s %10s %16s  %s\n", "nodes", "store, quiet", "store, busy", "network", "a node", "Gbit/s at 20000", "what ends it"
  count = split("10 100 300", fleet, " ")
  for (at = 1; at <= count; at++) {
    n = fleet[at]
    by_network = (servers * 1.25e9 - n * n * o_node) / (n * share * o_event)
    by_node = (1e6 - idle) / (share * an_event)
    by_store = carried(n, busy)
    ends = by_store <= by_network && by_store <= by_node ? "the store's CPU" : \
      (by_network <= by_node ? "the network" : "a node's CPU")
    # NOTIFY holds a lock until the commit is on the disk: all that is told is written one after the other.
    if (store == "postgres" && most == 0 && changes["flat"] < by_store) ends = "NOTIFY: a commit after the other"
    printf "    %5d %12.0f %12.0f %10.0f %10.0f %16.2f  %s\n", n, carried(n, 1), by_store, by_network, by_node,
      8e-9 * n * (20000 * share * o_event + n * o_node) / servers, ends
  }
}
