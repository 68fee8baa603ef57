"""Kernels of the hierarchical search: levels above a partition, and the same again inside modules.

Functions with one caller are inlined as source: numba optimises whatever a function calls anew with
each function around it, so that a chain of six would compile six times as long.

One kernel does three jobs, see `kexue.graph._infomap_kernels`: it looks for modules of nodes, for
modules of modules (whose flow is then the rate at which they are entered) and for modules inside
a module (whose exit flow q0 then belongs to the code that names the parts).

The tree under construction is a list of modules as parallel arrays, a module after its parent. A
module is a range of `order`, the nodes sorted so that every module's are side by side.

Method: Rosvall & Bergstrom, PLoS ONE 6 (2011) e18209.
"""

import numpy as np
from numba import njit

from kexue.graph._infomap_kernels import (
    aggregate,
    grouped,
    move_nodes,
    random_order,
    renumber,
    search,
)
from kexue.graph._module_kernels import empty_modules, fill_modules, length_of, plogp

PARENT, LOW, HIGH, CUT = 0, 1, 2, 3
EXIT, ENTER, FLOW, COST = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def _sum_plogp(values):
    total = 0.0
    for x in values:
        total += plogp(x)
    return total


@njit(cache=True, nogil=True)
def _modules_as_nodes(graph, labels, n_modules):
    """Return the graph of the modules, whose flow is the rate at which they are entered."""
    indptr, indices, s, _, out, skew, leave, land = aggregate(graph, labels, n_modules)
    return indptr, indices, s, np.maximum(out + skew, 0.0), out, skew, leave, land


@njit(inline="always")
def _raise_level(graph, directed, q0, gain, state, effort, stop):
    """Group the modules that are the nodes of `graph`; return (labels, groups), 0 if none pays.

    The search takes a group of one for a module with a code of its own, as it would be one level
    down. In truth such a module stays where it was and costs nothing more, so a last round
    of moves uses that cost. Begun with it, the search would never leave the single modules.
    """
    n = graph[3].size
    node_term = _sum_plogp(graph[3])
    flat = plogp(q0 + graph[3].sum()) - plogp(q0) - node_term
    nowhere = np.empty(0, np.uint32)
    labels, _ = search(graph, directed, q0, node_term, gain, nowhere, state, effort, stop)
    modules = empty_modules(n, graph[6].size > 0)
    total = fill_modules(graph, labels, directed, 0.0, modules)
    order = random_order(graph[0], False, state)
    move_nodes(graph, directed, q0, gain, 0.0, labels, order, modules, total, stop)
    fill_modules(graph, labels, directed, 0.0, modules)
    groups = renumber(labels)
    if groups == 1 or groups == n or length_of(modules, q0, node_term) > flat - gain:
        return labels, 0
    return labels, groups


@njit(cache=True, nogil=True)
def _inside(graph, order, place, low, high):
    """Return the graph of the nodes ``order[low:high]``; `place` is the inverse of `order`."""
    indptr, indices, s, p, out, skew, leave, land = graph
    n = high - low
    nodes = order[low:high]
    links = 0
    for i in nodes:
        links += indptr[i + 1] - indptr[i]
    new_indptr = np.zeros(n + 1, np.int64)
    new_indices = np.empty(links, np.uint32)
    new_s = np.empty(links, np.float32)
    fill = 0
    for k in range(n):
        i = nodes[k]
        for e in range(indptr[i], indptr[i + 1]):
            j = place[indices[e]]
            if low <= j < high:
                new_indices[fill] = j - low
                new_s[fill] = s[e]
                fill += 1
        new_indptr[k + 1] = fill
    links = new_indptr, new_indices[:fill], new_s[:fill]
    if leave.size:
        return (*links, p[nodes], out[nodes], skew[nodes], leave[nodes], land[nodes])
    return (*links, p[nodes], out[nodes], skew[nodes], leave, land)


@njit(inline="always")
def _raise_levels(graph, labels, directed, q0, gain, state, effort, stop):
    """Raise levels above the modules `labels` of nodes while that pays.

    Returns lists, from the innermost level outwards: of the module that each module of the level
    below (each node, at first) belongs to, and of the graphs whose nodes are these modules.
    """
    count = np.int64(labels.max()) + 1
    levels = [labels]
    graphs = [_modules_as_nodes(graph, labels, count)]
    while count > 2 and stop[0] == 0:
        groups, count = _raise_level(graphs[-1], directed, q0, gain, state, effort, stop)
        if count > 0:
            levels.append(groups)
            graphs.append(_modules_as_nodes(graphs[-1], groups, count))
    return levels, graphs


@njit(cache=True, nogil=True)
def _room_for(tree, flows, size):
    """Return both arrays, made longer if they have less than `size` rows."""
    if size <= tree.shape[0]:
        return tree, flows
    new_tree, new_flows = np.empty((2 * size, 4), np.int64), np.empty((2 * size, 4))
    for m in range(tree.shape[0]):  # numba compiles loops sooner than assignments of slices
        for k in range(4):
            new_tree[m, k] = tree[m, k]
            new_flows[m, k] = flows[m, k]
    return new_tree, new_flows


@njit(inline="always")
def _append_modules(tree, flows, count, around, levels, graphs):
    """Append the modules of `levels` to the tree, inside module `around`.

    A module of one module is left out: it is that module. Returns (tree, flows, the new count,
    the number in the tree of each innermost module, whose flow is left to be filled in).
    """
    numbers = np.full(graphs[-1][3].size, around)
    for t in range(len(levels) - 1, -1, -1):
        _, _, _, enter, exits, _, _, _ = graphs[t]
        k = enter.size
        if t < len(levels) - 1:
            numbers = numbers[levels[t + 1]]
        children = np.full(k, 2, np.int64)
        if t > 0:
            children[:] = 0
            for c in levels[t]:
                children[c] += 1
        tree, flows = _room_for(tree, flows, count + k)
        for c in range(k):
            if children[c] > 1:
                tree[count, PARENT] = numbers[c]
                tree[count, CUT] = 0
                flows[count, EXIT] = exits[c]
                flows[count, ENTER] = enter[c]
                flows[count, FLOW] = 0.0
                numbers[c] = count
                count += 1
    return tree, flows, count, numbers


@njit(inline="always")
def _price(tree, flows, around, first, count):
    """Fill in the costs of the modules from `first` on, each with all that is inside.

    Returns what the code of module `around` and all inside cost. Innermost modules are those
    with node flow.
    """
    entered = np.zeros(count - first + 1)  # sum over the parts of a module; last: of `around`
    for m in range(first, count):
        flows[m, COST] = 0.0
    cost = 0.0
    for m in range(count - 1, first - 1, -1):
        use = flows[m, FLOW] if flows[m, FLOW] > 0.0 else entered[m - first]
        flows[m, COST] += plogp(flows[m, EXIT] + use) - plogp(flows[m, EXIT])
        parent = tree[m, PARENT]
        below = flows[m, COST] - plogp(flows[m, ENTER])
        if parent == around:
            entered[count - first] += flows[m, ENTER]
            cost += below
        else:
            entered[parent - first] += flows[m, ENTER]
            flows[parent, COST] += below
    q0 = flows[around, EXIT]
    return cost + plogp(q0 + entered[count - first]) - plogp(q0)


@njit(inline="always")
def _sort_nodes(tree, first, count, levels, numbers, order, place, leaf, low, high):
    """Sort ``order[low:high]`` by the new modules and set the ranges of these."""
    nodes = order[low:high].copy()
    sequence = np.arange(levels[-1].max() + np.int64(1))  # the modules of a level, in order
    for t in range(len(levels) - 1, 0, -1):
        start, members = grouped(levels[t], sequence.size)
        inner = np.empty(levels[t].size, np.int64)
        fill = 0
        for c in sequence:
            for k in range(start[c], start[c + 1]):
                inner[fill] = members[k]
                fill += 1
        sequence = inner
    start, members = grouped(levels[0], sequence.size)
    for m in range(first, count):
        tree[m, LOW], tree[m, HIGH] = high, low
    fill = low
    for c in sequence:
        m = numbers[c]
        tree[m, LOW] = fill
        for k in range(start[c], start[c + 1]):
            i = nodes[members[k]]
            order[fill] = i
            place[i] = fill
            leaf[i] = m
            fill += 1
        tree[m, HIGH] = fill
    for m in range(count - 1, first - 1, -1):
        parent = tree[m, PARENT]
        if parent >= first:
            tree[parent, LOW] = min(tree[parent, LOW], tree[m, LOW])
            tree[parent, HIGH] = max(tree[parent, HIGH], tree[m, HIGH])


@njit(cache=True, nogil=True)
def _dissolve(parent, flows, alive, leaf, gain):
    """Give the parts of every inner module whose code does not pay to the module around it.

    Changes `parent` in place; dissolved modules are left without parts.
    """
    count = parent.size
    entered = np.zeros(count)  # sum over the parts
    inner = alive.copy()
    inner[0] = False
    for m in range(1, count):
        if alive[m]:
            entered[parent[m]] += flows[m, ENTER]
    for m in leaf:
        inner[m] = False
    gone = np.zeros(count, np.bool_)
    again = True
    while again:
        again = False
        for m in range(count - 1, 0, -1):
            if not inner[m] or gone[m]:
                continue
            while gone[parent[m]]:
                parent[m] = parent[parent[m]]
            around = parent[m]
            use = flows[around, EXIT] + entered[around]
            change = plogp(use - flows[m, ENTER] + entered[m]) - plogp(use)
            change += plogp(flows[m, ENTER]) + plogp(flows[m, EXIT])
            change -= plogp(flows[m, EXIT] + entered[m])
            if change < -gain:
                entered[around] += entered[m] - flows[m, ENTER]
                gone[m] = True
                again = True
    for m in range(1, count):
        while gone[parent[m]]:
            parent[m] = parent[parent[m]]


@njit(inline="always")
def _improve(m, inside, labels, directed, gain, state, effort, stop, found, nodes):
    """Describe the inside of module m by the modules `labels` and levels above them, if shorter.

    Returns `found`, (tree, flows, count), with the modules added.
    """
    tree, flows, count = found
    order, place, leaf = nodes
    low, high = tree[m, LOW], tree[m, HIGH]
    q0 = flows[m, EXIT]
    flat = plogp(q0 + inside[3].sum()) - plogp(q0)
    if flat < flows[m, COST] - gain:  # no parts at all are better than those known
        tree[m, CUT] = count
        flows[m, COST] = flat
        flows[m, FLOW] = inside[3].sum()
        for i in order[low:high]:
            leaf[i] = m
    if labels.max() == 0:
        return tree, flows, count
    levels, graphs = _raise_levels(inside, labels, directed, q0, gain, state, effort, stop)
    tree, flows, end, numbers = _append_modules(tree, flows, count, m, levels, graphs)
    for k in range(labels.size):
        flows[numbers[labels[k]], FLOW] += inside[3][k]
    cost = _price(tree, flows, m, count, end)
    if stop[0] != 0 or cost >= flows[m, COST] - gain:
        return tree, flows, count
    tree[m, CUT] = count
    flows[m, COST] = cost
    _sort_nodes(tree, count, end, levels, numbers, order, place, leaf, low, high)
    return tree, flows, end


@njit(cache=True, nogil=True)
def search_tree(graph, labels, directed, gain, state, effort, inner_effort, stop):
    """Return (parent, leaf): the module around each module and the innermost around each node.

    `labels` are the modules that `search` found. Levels are raised above them, and then modules
    searched from the root inwards: inside each, nodes are put into modules afresh and levels
    raised on these; if that is shorter than what the search further out left there it replaces
    it. At last, modules of modules that do not pay are dissolved. Some modules of the list may be
    without nodes. `inner_effort`, as in `search`, is spent on the inside of each module.
    """
    n = graph[3].size
    order = np.arange(n).astype(np.uint32)
    place = np.arange(n).astype(np.uint32)
    leaf = np.zeros(n, np.int64)
    tree = np.zeros((64, 4), np.int64)
    flows = np.zeros((64, 4))
    tree[0, PARENT], tree[0, HIGH] = -1, n
    flows[0, FLOW] = graph[3].sum()
    flows[0, COST] = plogp(flows[0, FLOW])
    nodes = order, place, leaf
    found = tree, flows, 1
    nowhere = np.empty(0, np.uint32)
    m = 0
    while m < found[2]:
        tree, flows, _ = found
        parent, low, high = max(tree[m, PARENT], 0), tree[m, LOW], tree[m, HIGH]
        if m > 0 and (tree[parent, CUT] < 0 or m < tree[parent, CUT]):
            tree[m, CUT] = -1  # replaced, with all that is inside
        elif high - low > 1 and stop[0] == 0:
            inside, parts, spend = graph, labels, effort
            if m > 0:
                inside = _inside(graph, order, place, low, high)
                term, spend = _sum_plogp(inside[3]), inner_effort
                parts, _ = search(
                    inside, directed, flows[m, EXIT], term, gain, nowhere, state, spend, stop
                )
            found = _improve(m, inside, parts, directed, gain, state, spend, stop, found, nodes)
        m += 1
    tree, flows, count = found
    parents = tree[:count, PARENT].copy()
    _dissolve(parents, flows, tree[:count, CUT] >= 0, leaf, gain)
    return parents, leaf
