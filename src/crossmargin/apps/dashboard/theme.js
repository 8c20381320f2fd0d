/* Before the first paint: the theme that was chosen last, else the system's. Not a module, so that nothing flashes. */
document.documentElement.dataset.theme = localStorage.getItem("crossmargin-theme") || "system";
