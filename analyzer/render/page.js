/*
 * page.js - sorts and filters the tables of an HTML report, zooms into its flame graphs, and opens the data of its
 * charts for printing; embedded by page_assets.S, allowed by its hash (html.c). Without it nothing is missing.
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
/* Bars come depth first, callers before what they call: what a bar called are those that follow as long as they lie lower. */
document.querySelectorAll('.flame').forEach(function (picture, number) {
	var bars = Array.from(picture.querySelectorAll('svg')), said = document.createElement('output'), at = 0;
	var place = bars.map(function (b) {
		return { x: parseFloat(b.getAttribute('x')), width: parseFloat(b.getAttribute('width')), y: +b.getAttribute('y') };
	});
	function caller(i) {
		for (var k = i - 1; k >= 0; k--) if (place[k].y < place[i].y) return k;
		return i;
	}
	function beside(i, step) {
		for (var k = i + step; k >= 0 && k < bars.length; k += step) if (place[k].y === place[i].y) return k;
		return i;
	}
	function show(i) {
		bars[at].removeAttribute('data-at');
		bars[at = i].setAttribute('data-at', '');
		said.textContent = bars[i].firstChild.textContent;
	}
	function zoom(i) {
		var from = place[i], callers = [], inside = true;
		for (var k = i; k; callers.push(k)) k = caller(k);
		bars.forEach(function (bar, k) {
			var p = place[k], above = callers.includes(k);
			inside = k === i || (k > i && inside && p.y > from.y);
			bar.style.display = above || inside ? '' : 'none';
			bar.setAttribute('x', (above ? 0 : (p.x - from.x) / from.width * 100) + '%');
			bar.setAttribute('width', (above ? 100 : p.width / from.width * 100) + '%');
			if (bar.lastChild.tagName === 'text') return;
			var name = document.createElementNS(bar.namespaceURI, 'text'); // it was too narrow for one
			name.textContent = bar.firstChild.textContent;
			bar.append(name);
		});
	}
	var moves = {
		ArrowUp: caller,
		ArrowDown: function (i) { return i + 1 < bars.length && place[i + 1].y > place[i].y ? i + 1 : i; },
		ArrowLeft: function (i) { return beside(i, -1); },
		ArrowRight: function (i) { return beside(i, 1); }
	};
	bars.forEach(function (bar, i) {
		bar.addEventListener('pointerenter', function () { show(i); });
		bar.addEventListener('click', function () { zoom(i); });
	});
	picture.addEventListener('keydown', function (event) {
		if (moves[event.key]) show(moves[event.key](at));
		else if (event.key === 'Enter') zoom(at);
		else if (event.key === 'Escape') zoom(0);
		else return;
		event.preventDefault();
	});
	picture.tabIndex = 0;
	picture.setAttribute('role', 'application');
	if (!number) said.textContent = 'Point at a bar, or go to it by the arrow keys, for its figures. A click or Enter zooms into it; ' +
		'the topmost bar, or Escape, shows all again.';
	picture.after(said);
});
var opened = [];
addEventListener('beforeprint', function () {
	opened = Array.from(document.querySelectorAll('details:not([open])'));
	opened.forEach(function (d) { d.open = true; });
});
addEventListener('afterprint', function () {
	opened.forEach(function (d) { d.open = false; });
});
