// For screenshots: a drawn person in a room in place of the barcode, so that pictures of the pages look like a call.
"use strict";
globalThis.probeScene = (context, { id, width, height }, frame) => {
  const people = {
    11: { wall: "#dfe7e4", skin: "#c98f6b", hair: "#2d2320", clothes: "#f7f9fa", shelf: "#b9c9c3" },
    22: { wall: "#efe4d2", skin: "#e3b28d", hair: "#5b3a22", clothes: "#3d6f8e", shelf: "#d8c3a0" },
    33: { wall: "#dcdfee", skin: "#8d5a3c", hair: "#1b1716", clothes: "#a4485b", shelf: "#bcc2de" },
  };
  const { wall, skin, hair, clothes, shelf } = people[id] ?? people[11];
  const unit = height / 100;
  const middle = width / 2 + Math.sin(frame / 40) * unit;
  const ellipse = (x, y, across, down, colour) => {
    context.fillStyle = colour;
    context.beginPath();
    context.ellipse(x, y, across * unit, down * unit, 0, 0, Math.PI * 2);
    context.fill();
  };
  context.fillStyle = wall;
  context.fillRect(0, 0, width, height);
  context.fillStyle = shelf;
  context.fillRect(width * 0.06, height * 0.12, width * 0.2, height * 0.03);
  context.fillRect(width * 0.06, height * 0.34, width * 0.2, height * 0.03);
  context.fillRect(width * 0.78, height * 0.1, width * 0.14, height * 0.36);
  ellipse(middle, height * 1.04, 42, 40, clothes);
  context.fillStyle = skin;
  context.fillRect(middle - 8 * unit, height * 0.55, 16 * unit, 16 * unit);
  ellipse(middle, height * 0.36, 20, 24, hair);
  ellipse(middle, height * 0.41, 16.5, 20, skin);
  ellipse(middle - 6.5 * unit, height * 0.4, 1.5, 1.9, "#2a2422");
  ellipse(middle + 6.5 * unit, height * 0.4, 1.5, 1.9, "#2a2422");
  context.strokeStyle = "#8c4a3c";
  context.lineWidth = unit;
  context.beginPath();
  context.arc(middle, height * 0.48, 6 * unit, 0.25 * Math.PI, 0.75 * Math.PI);
  context.stroke();
};
