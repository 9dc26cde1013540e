/*
 * page.js - sorts and filters the tables of an HTML report, and opens the data of its charts for printing; embedded by
 * page_assets.S, allowed by its hash (html.c). Without it nothing is missing.
 *
 * Rows that belong together (a tbody each where there are several) move together. Of a number the greatest of them
 * counts where the greatest come first, else the least; what has no number comes last. A third press brings the first
 * order back.
 */
'use strict';
document.querySelectorAll('table.sort').forEach(function (table) {
	var bodies = Array.from(table.tBodies), many = bodies.length > 1;
	var parent = many ? table : bodies[0];
	var groups = many ? bodies : Array.from(parent.rows), order = groups.slice();
	function rows(group) { return many ? Array.from(group.rows) : [group]; }
	function key(group, column, sign, numbers) {
		var best = null;
		rows(group).forEach(function (row) {
			var cell = row.cells[column], k = cell.dataset.k;
			var v = numbers ? (k === undefined ? null : +k) : cell.textContent;
			if (v !== null && (best === null || (v < best ? -1 : 1) * sign < 0)) best = v;
		});
		return best;
	}
	function sort(column, sign) {
		var numbers = groups.some(function (g) {
			return rows(g).some(function (r) { return r.cells[column].dataset.k !== undefined; });
		});
		var sorted = order.map(function (g, i) { return { g: g, i: i, k: key(g, column, sign, numbers) }; });
		if (sign) sorted.sort(function (a, b) {
			if (a.k === null || b.k === null) return (a.k === null) - (b.k === null) || a.i - b.i;
			return (numbers ? a.k - b.k : a.k.localeCompare(b.k)) * sign || a.i - b.i;
		});
		sorted.forEach(function (s) { parent.appendChild(s.g); });
	}
	var heads = Array.from(table.tHead.rows[0].cells);
	heads.forEach(function (head, column) {
		if (!head.textContent || groups.length < 2) return;
		var button = document.createElement('button');
		button.type = 'button';
		button.textContent = head.textContent;
		head.replaceChildren(button);
		button.addEventListener('click', function () {
			var turns = head.className === 'right' ? ['descending', 'ascending', ''] : ['ascending', 'descending', ''];
			var turn = turns[(turns.indexOf(head.getAttribute('aria-sort') || '') + 1) % 3];
			heads.forEach(function (h) { h.removeAttribute('aria-sort'); });
			if (turn) head.setAttribute('aria-sort', turn);
			sort(column, turn === 'ascending' ? 1 : turn ? -1 : 0);
		});
	});
	if (groups.length < 8) return;
	var box = document.createElement('div'), label = document.createElement('label');
	var input = document.createElement('input'), count = document.createElement('output');
	box.className = 'filter';
	input.type = 'search';
	label.append('Filter rows ', input);
	box.append(label, count);
	input.addEventListener('input', function () {
		var words = input.value.toLowerCase().split(/\s+/), shown = 0;
		groups.forEach(function (group) {
			var text = group.textContent.toLowerCase();
			group.hidden = !words.every(function (word) { return text.includes(word); });
			shown += !group.hidden;
		});
		count.textContent = input.value ? shown + ' of ' + groups.length : '';
	});
	table.parentNode.before(box);
});
var opened = [];
addEventListener('beforeprint', function () {
	opened = Array.from(document.querySelectorAll('details:not([open])'));
	opened.forEach(function (d) { d.open = true; });
});
addEventListener('afterprint', function () {
	opened.forEach(function (d) { d.open = false; });
});
